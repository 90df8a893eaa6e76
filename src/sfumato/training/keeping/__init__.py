"""What a training needs to go on after a fault: whole checkpoints, sound steps, room."""
