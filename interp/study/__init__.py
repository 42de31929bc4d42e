"""Study: any measurement over any data set."""
