"""What `dfdaemon configure`, `unconfigure` and `doctor` decide, as pure functions of texts and values."""
