package containerdconf

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Wanted is a snapshotter that containerd has to have.
type Wanted struct {
	Name   string // in containerd
	Socket string // that it serves
	Root   string // of its directory
	// Pods makes it the default of the CRI.
	Pods bool
	// Modern is set for containerd 2, and unset for 1.7.
	Modern bool
	// RemapIDs lets containerd map owners by mounts.
	RemapIDs bool
}

// DropInHead is the beginning of a file that DropIn has written.
const DropInHead = "# Written by `overlayzfs setup`, which writes it again: add nothing here.\n"

// Lacks says what the configuration lacks of the wanted snapshotter, or returns "".
func (c Config) Lacks(w Wanted) string {
	proxy := c.Proxies[w.Name]
	switch {
	case proxy.Type != "snapshot" || proxy.Address != w.Socket:
		return "a snapshotter " + w.Name + " at " + w.Socket
	case w.Modern && !slices.Contains(c.UnpackSnapshotters(), w.Name):
		return "snapshotter " + w.Name + " in unpack_config"
	case w.Pods && (c.PodSnapshotters(w.Modern)[""] != w.Name || w.Modern && !c.isLegacyDefault(w.Name)):
		return "snapshotter " + w.Name + " for the CRI"
	}
	return ""
}

// isLegacyDefault reports whether 1.7's table, where it names a snapshotter, names this one.
// containerd 2.0 to 2.2 takes over what the files say there together.
func (c Config) isLegacyDefault(name string) bool {
	is, ok := table(c.plugins, criTable, "containerd")["snapshotter"].(string)
	return !ok || c.Version > 2 || is == name
}

// WouldImport reports whether the configuration imports a file, which need not exist.
func (c Config) WouldImport(file string) bool {
	return slices.ContainsFunc(c.imports, func(pattern string) bool {
		matches, err := filepath.Match(pattern, file)
		return pattern == file || err == nil && matches && strings.Contains(pattern, "*")
	})
}

// DropIn returns the content of a file that adds the wanted snapshotter to the configuration,
// which is that without this file. Where containerd replaces a table as a whole, the file has a
// copy of it.
func (c Config) DropIn(w Wanted) ([]byte, error) {
	proxy := map[string]any{"type": "snapshot", "address": w.Socket, "exports": map[string]any{"root": w.Root}}
	if w.Modern && w.RemapIDs {
		proxy["capabilities"] = []string{"remap-ids"}
	}
	content := map[string]any{"proxy_plugins": map[string]any{w.Name: proxy}}
	if isOld := !w.Modern && c.Version < 2 && len(c.Files) > 0; !isOld { // 1.7 takes all files for one version
		content["version"], content["plugins"] = 2, c.pluginTables(w)
	} else if w.Pods {
		return nil, fault.New(fault.Unsupported, "%s is of version 1, which cannot be extended for Kubernetes: convert it with `containerd config migrate`, or leave pods where they are with --pods=false", c.Files[0])
	}
	text := bytes.NewBufferString(DropInHead)
	encoder := toml.NewEncoder(text)
	encoder.SetIndentTables(true)
	err := encoder.Encode(content)
	return text.Bytes(), err
}

// pluginTables returns the tables of plugins for a file of version 2.
func (c Config) pluginTables(w Wanted) map[string]any {
	transfer, cri := map[string]any{}, map[string]any{}
	if !w.Modern {
		transfer, cri = copyTable(table(c.legacy, transferTable)), copyTable(table(c.legacy, criTable))
	}
	transfer["unpack_config"] = c.addUnpack(w)
	tables := map[string]any{transferTable: transfer}
	if !w.Pods {
		return tables
	}
	ours := map[string]any{"snapshotter": w.Name, "disable_snapshot_annotations": true}
	tables[imagesTable] = ours
	switch {
	case w.Modern && c.Version < 3:
		tables[criTable] = map[string]any{"containerd": ours}
	case !w.Modern:
		containerd := copyTable(table(cri, "containerd"))
		maps.Copy(containerd, ours)
		cri["containerd"] = containerd
		tables[criTable] = cri
	}
	return tables
}

// addUnpack returns unpack_config with the snapshotter added.
func (c Config) addUnpack(w Wanted) (list []map[string]any) {
	from := c.plugins
	if !w.Modern {
		from = c.legacy
	}
	entry := func(name string) map[string]any { return map[string]any{"platform": "linux", "snapshotter": name} }
	found, ok := table(from, transferTable)["unpack_config"].([]any)
	if !ok {
		return []map[string]any{entry(defaultSnapshotter), entry(w.Name)}
	}
	for _, item := range found {
		if each, ok := item.(map[string]any); ok && each["snapshotter"] != w.Name {
			list = append(list, each)
		}
	}
	return append(list, entry(w.Name))
}
