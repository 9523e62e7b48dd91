"""Loops over time as one node: what ``nn.Recurrent`` is made of."""
