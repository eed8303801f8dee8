package fault

import "errors"

// remedies is what the administrator can do next, by class. Interrupted has none: the
// message itself names the command that finishes the work.
var remedies = map[Class]string{
	Busy:            "something still uses it: stop the container or process that does, then retry",
	LimitReached:    "the layer or dataset is at its limit: raise the quota or remove data, then retry",
	NoSpace:         "the pool has no space left: remove images or containers (docker system prune), or grow the pool; `zfs list -o space` shows what holds it",
	ReadOnly:        "the dataset or pool is read-only: `zfs get readonly` and `zpool status` say why; set readonly=off or import the pool writable",
	PoolUnavailable: "the pool does not answer as it should: `zpool status` shows the device at fault",
	HomeGone:        "mount the dataset there again, or restart what serves it: disable and enable the plugin, or restart overlayzfs-snapshotter",
}

// Advice returns the remedy for err's class, or "" when the class has none or the error's
// text contains it.
func Advice(err error) string {
	var c *classified
	if errors.As(err, &c) && c.complete {
		return ""
	}
	return remedies[ClassOf(err)]
}

// Text returns err for a person: the error's text and, where there is one, the remedy.
func Text(err error) string {
	if advice := Advice(err); advice != "" {
		return err.Error() + "; " + advice
	}
	return err.Error()
}
