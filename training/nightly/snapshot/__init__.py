"""What a night learns from and is judged on: sides of patients, the frozen test set, snapshots, the sealed share."""
