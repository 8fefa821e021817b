"""Attribution: what held frames up, in ranked causes with their evidence."""
