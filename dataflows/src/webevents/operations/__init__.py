"""What a person does with a pipeline that runs: follow one event, repair failed events."""
