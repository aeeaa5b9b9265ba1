"""What breaks, many times over: registry, records, disk, model folder, process. Wrong, lost and doubled are counted."""
