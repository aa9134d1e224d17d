"""Linear decoding of classes from the Gram matrices of each layer (Gatys, Ecker & Bethge 2015, Figure 4)."""
