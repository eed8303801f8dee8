package fault

import "errors"

// remedies says, per class, what the administrator can do next. Interrupted has
// none: what finishes it is another command each time, which the message names.
var remedies = map[Class]string{
	Busy:            "something still uses it: stop the container or process that does, then retry",
	LimitReached:    "the layer or dataset is at its limit: raise the quota or remove data, then retry",
	NoSpace:         "the pool has no space left: remove images or containers (docker system prune), or grow the pool; `zfs list -o space` shows what holds it",
	ReadOnly:        "the dataset or pool is read-only: `zfs get readonly` and `zpool status` say why; set readonly=off or import the pool writable",
	PoolUnavailable: "the pool does not answer as it should: `zpool status` shows the device at fault",
	HomeGone:        "mount the dataset there again, or restart what serves it: disable and enable the plugin, or restart overlayzfs-snapshotter",
}

// Advice returns the remedy for err's class, or "" when there is none beyond
// what the error's own text says.
func Advice(err error) string {
	var c *classified
	if errors.As(err, &c) && c.told {
		return ""
	}
	return remedies[ClassOf(err)]
}

// Text is err for a person: the error and, where there is one, the remedy.
func Text(err error) string {
	if advice := Advice(err); advice != "" {
		return err.Error() + "; " + advice
	}
	return err.Error()
}
