"""asynclive doctor: looks, changes nothing."""
