"""Controllers of the agents that no policy drives: IDM, log replay, baselines, parked vehicles; and faulty agents."""
