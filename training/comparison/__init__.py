"""The five seed models, and ours, fitted and judged side by side by one protocol."""
