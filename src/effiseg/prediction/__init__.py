"""From files, videos and streams to label files, pictures and overlay videos."""
