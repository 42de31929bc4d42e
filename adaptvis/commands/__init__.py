"""The commands of ScalingVis and AdaptVis: a file a command."""
