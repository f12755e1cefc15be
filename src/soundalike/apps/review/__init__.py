"""Labelling the sounds of a folder in a browser, while a classifier learns from the labels and sorts the rest."""
