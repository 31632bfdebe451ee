"""Generated stubs of the public contract in ``protos/mulde/v1``. Never edited by hand."""
