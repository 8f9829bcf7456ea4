"""The DICOM upper layer (PS3.8) as an acceptor: pynetdicom's state machine on a receive path of our own."""
