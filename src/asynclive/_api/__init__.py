"""The objects that users hold: the async face and the blocking one."""
