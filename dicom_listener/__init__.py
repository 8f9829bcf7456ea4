"""The front door: receives studies over DICOM and spools them; its registrar writes receipts for what was spooled."""
