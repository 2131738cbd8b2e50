"""Reports: results as a person reads them."""
