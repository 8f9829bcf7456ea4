"""From a DICOM object to model input, one path for serving and training. No TensorFlow."""
