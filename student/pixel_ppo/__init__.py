"""Plain PPO from pixels: the student's network as actor and critic, by the teacher's reward, without a teacher."""
