"""Reading what people write: YAML files, their numbers, and command lines; every refusal is one sentence."""
