//! Every claim of arXiv:2407.11901 as an executable check with a negative control.
