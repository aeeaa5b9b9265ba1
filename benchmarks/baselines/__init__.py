"""What batchguard's predictor is compared with: each method a plain function, fitted on the same training batches.

`scores(plant, train, test)` of each module gives `batch_id, checkpoint_h, score` (higher: more alarming) for test
batches up to their end. What was not available at a time is not seen; what a method learns comes from `train` alone.
"""
