"""Road maps by name: OpenDRIVE files such as CARLA's towns, procedurally generated towns, and the cache of both."""
