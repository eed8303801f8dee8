package containerdconf

import (
	"slices"
)

// HasSnapshotter reports whether containerd knows a snapshotter that another process serves.
func (c Config) HasSnapshotter(name string) bool { return c.Proxies[name].Type == "snapshot" }

// PodSnapshotters returns what containerd 2 or 1.7 runs pods on: the default snapshotter of
// the CRI under the key "", and those of runtimes that have one of their own.
func (c Config) PodSnapshotters(modern bool) map[string]string {
	images, runtimes := table(c.plugins, imagesTable), table(c.plugins, runtimeTable, "containerd", "runtimes")
	if !modern {
		images, runtimes = table(c.legacy, criTable, "containerd"), table(c.legacy, criTable, "containerd", "runtimes")
	}
	found := map[string]string{"": defaultSnapshotter}
	if name, ok := images["snapshotter"].(string); ok && name != "" {
		found[""] = name
	}
	for runtime := range runtimes {
		if name, ok := table(runtimes, runtime)["snapshotter"].(string); ok && name != "" {
			found[runtime] = name
		}
	}
	return found
}

// UnpackSnapshotters returns the snapshotters that containerd 2's transfer service unpacks
// images into.
func (c Config) UnpackSnapshotters() []string {
	list, ok := table(c.plugins, transferTable)["unpack_config"].([]any)
	if !ok {
		return []string{defaultSnapshotter}
	}
	var names []string
	for _, item := range list {
		if entry, ok := item.(map[string]any); ok {
			if name, ok := entry["snapshotter"].(string); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
