"""The Helm chart's values: their model, and the files of the chart that are made from it."""
