"""What drives the agents that no policy drives: IDM, log replay, faults, baselines, parked vehicles."""
