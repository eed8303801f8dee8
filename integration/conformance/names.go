package conformance

const (
	// driverName is what the daemon calls the plugin.
	driverName = "overlayzfs"
	// registeredName is what the suite calls the driver that leads to it.
	registeredName = "overlayzfs-proxy"
)
