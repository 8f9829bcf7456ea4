"""The watch for drift: the last weeks held against fixed ones, so that slow change shows as well."""
