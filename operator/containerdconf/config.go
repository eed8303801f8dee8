package containerdconf

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
)

// DefaultFile is the default path of containerd's configuration.
const DefaultFile = "/etc/containerd/config.toml"

// maxFiles bounds how many files are imported.
const maxFiles = 1000

// The defaults of containerd.
const (
	DefaultRoot        = "/var/lib/containerd"
	defaultSnapshotter = "overlayfs"
)

// The tables of the plugins that name a snapshotter.
const (
	criTable      = "io.containerd.grpc.v1.cri"    // the CRI of containerd 1.7
	imagesTable   = "io.containerd.cri.v1.images"  // of containerd 2
	runtimeTable  = "io.containerd.cri.v1.runtime" // of containerd 2
	transferTable = "io.containerd.transfer.v1.local"
)

// FileOf returns the configuration of the containerd with a root directory, or "" where that
// is not known: a file need not name the root that a flag does.
func FileOf(root string) string {
	root = filepath.Clean(root)
	if agent, isRancher := strings.CutSuffix(root, "/agent/containerd"); isRancher { // k3s and RKE2
		return filepath.Join(agent, "agent/etc/containerd/config.toml")
	}
	if c, err := Read(DefaultFile); root == DefaultRoot || err == nil && c.Root == root {
		return DefaultFile
	}
	return ""
}

// Proxy is a plugin that another process serves.
type Proxy struct {
	Type    string `toml:"type"`
	Address string `toml:"address"`
}

// Config is containerd's configuration.
type Config struct {
	Root    string
	Proxies map[string]Proxy
	Files   []string // that were read
	// Version is that of the first file's format; 0 and 1 are the same.
	Version int

	// plugins are the plugins' tables as containerd 2 merges them, legacy as 1.7 does.
	plugins, legacy map[string]any
	imports         []string // paths and patterns, absolute
}

// file is the content of one file.
type file struct {
	Version int              `toml:"version"`
	Root    string           `toml:"root"`
	Imports []string         `toml:"imports"`
	Proxies map[string]Proxy `toml:"proxy_plugins"`
	Plugins map[string]any   `toml:"plugins"`
}

// Read reads a configuration and what it imports. A missing file gives the defaults.
func Read(path string) (Config, error) { return ReadWithout(path, "") }

// ReadWithout is Read as if the file absent did not exist, which may be imported.
func ReadWithout(path, absent string) (Config, error) {
	c := Config{Root: DefaultRoot, Proxies: map[string]Proxy{}, plugins: map[string]any{}, legacy: map[string]any{}}
	pending := []string{path}
	for len(pending) > 0 && len(c.Files) < maxFiles {
		path, pending = pending[0], pending[1:]
		if slices.Contains(c.Files, path) || path == absent {
			continue
		}
		f, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) && len(c.Files) == 0 {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		if len(c.Files) == 0 {
			c.Version = f.Version
		}
		c.Files = append(c.Files, path)
		c.merge(f)
		imports, err := c.resolveImports(path, f.Imports)
		if err != nil {
			return c, err
		}
		pending = append(pending, imports...)
	}
	return c, nil
}

func readFile(path string) (f file, err error) {
	raw, err := configfile.Read(path)
	if err != nil {
		return f, err
	}
	if err := toml.Unmarshal(raw, &f); err != nil {
		return f, fault.New(fault.Invalid, "%s: %w", path, err)
	}
	return f, nil
}

// resolveImports returns the files that imports name, relative to the file that has them.
func (c *Config) resolveImports(parent string, imports []string) (files []string, err error) {
	for _, path := range imports {
		path = filepath.Clean(path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(parent), path)
		}
		c.imports = append(c.imports, path)
		if !strings.Contains(path, "*") {
			files = append(files, path)
			continue
		}
		matches, err := filepath.Glob(path)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%s imports %q: %w", parent, path, err)
		}
		files = append(files, matches...)
	}
	return files, nil
}

// merge adds a file, which wins over the earlier ones.
func (c *Config) merge(f file) {
	if f.Root != "" {
		c.Root = filepath.Clean(f.Root)
	}
	maps.Copy(c.Proxies, f.Proxies)
	for name, value := range f.Plugins {
		c.legacy[name] = copyValue(value)
	}
	if f.Version < 3 {
		migrateSnapshotter(f.Plugins)
	}
	mergeTable(c.plugins, f.Plugins)
}

// migrateSnapshotter sets in containerd 2's table what it takes from 1.7's.
func migrateSnapshotter(plugins map[string]any) {
	containerd := table(plugins, criTable, "containerd")
	snapshotter, ok := containerd["snapshotter"].(string)
	if _, named := containerd["runtimes"]; !ok || !named {
		return
	}
	images := table(plugins, imagesTable)
	if images == nil {
		images = map[string]any{}
		plugins[imagesTable] = images
	}
	images["snapshotter"] = snapshotter
}

// copyValue copies the tables of a value.
func copyValue(value any) any {
	if t, ok := value.(map[string]any); ok {
		return copyTable(t)
	}
	return value
}

func copyTable(from map[string]any) map[string]any {
	to := map[string]any{}
	for key, value := range from {
		to[key] = copyValue(value)
	}
	return to
}

// mergeTable merges a table into another, the tables in it likewise.
func mergeTable(to, from map[string]any) {
	for key, value := range from {
		below, isTable := value.(map[string]any)
		there, isThere := to[key].(map[string]any)
		if isTable && isThere {
			mergeTable(there, below)
		} else {
			to[key] = value
		}
	}
}

// table returns a table below another, or nil.
func table(t map[string]any, path ...string) map[string]any {
	for _, name := range path {
		t, _ = t[name].(map[string]any)
	}
	return t
}
