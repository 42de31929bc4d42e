"""The embedded detector of coloured shapes: weights (AGPL-3.0, see LICENSE) and the scripts behind them."""
