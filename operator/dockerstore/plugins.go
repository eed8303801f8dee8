package dockerstore

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Plugin is a managed plugin that provides a storage driver.
type Plugin struct {
	ID      string
	Name    string // with its tag
	Enabled bool
	Env     []string // settings, NAME=value
	Mount   string   // the host's path of what the plugin mounts
	Version string   // of overlayzfs, or "" in a plugin that does not say it
}

// HasName reports whether a storage driver's name in Docker's configuration means this
// plugin. The name may omit the tag latest.
func (p Plugin) HasName(driver string) bool {
	return p.Name == driver || p.Name == driver+":latest"
}

// Setting returns a variable of the plugin's environment, or "".
func (p Plugin) Setting(name string) string {
	for _, setting := range p.Env {
		if value, ok := strings.CutPrefix(setting, name+"="); ok {
			return value
		}
	}
	return ""
}

// pluginRecord is the part of plugins/ID/config.json that this package uses
// (plugin/v2/plugin.go).
type pluginRecord struct {
	Plugin struct {
		ID       string `json:"Id"`
		Name     string
		Enabled  bool
		Settings struct{ Env []string }
		Config   struct {
			Description     string
			Interface       struct{ Types []string }
			PropagatedMount string
		}
	} `json:"plugin"`
}

var pluginID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// mountName is the directory of a plugin's propagated mounts.
const mountName = "propagated-mount"

// ReadPluginFile returns a small file that a plugin has written beside its mounts.
func (r *Root) ReadPluginFile(p Plugin, name string) ([]byte, error) {
	return r.readFile(path.Join("plugins", p.ID, mountName, name), maxJSON)
}

// Plugins lists the managed plugins that provide storage drivers. It skips other files;
// that is safe because nothing is deleted by this list.
func (r *Root) Plugins() ([]Plugin, error) {
	entries, err := r.list("plugins")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var plugins []Plugin
	for _, entry := range entries {
		if !pluginID.MatchString(entry.Name()) {
			continue
		}
		raw, readErr := r.readFile(path.Join("plugins", entry.Name(), "config.json"), maxJSON)
		if readErr != nil {
			continue // the plugin is being installed or removed
		}
		p, driver, decodeErr := decodePlugin(raw)
		if decodeErr != nil {
			return plugins, Damage{path.Join("plugins", entry.Name(), "config.json"), decodeErr}
		}
		if driver && p.ID == entry.Name() {
			p.Mount = filepath.Join(r.dir, "plugins", p.ID, mountName)
			plugins = append(plugins, p)
		}
	}
	return plugins, err
}

// decodePlugin decodes config.json and reports whether the plugin is a storage driver.
func decodePlugin(raw []byte) (p Plugin, driver bool, err error) {
	var record pluginRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return p, false, fault.New(fault.Invalid, "decode the plugin's configuration: %w", err)
	}
	driver = slices.ContainsFunc(record.Plugin.Config.Interface.Types, func(t string) bool {
		return strings.HasPrefix(t, "docker.graphdriver/")
	})
	p = Plugin{ID: record.Plugin.ID, Name: record.Plugin.Name, Enabled: record.Plugin.Enabled, Env: record.Plugin.Settings.Env}
	p.Version = DescribedVersion(record.Plugin.Config.Description)
	return p, driver, nil
}

// DescribedVersion returns the version in a plugin's description, where scripts/make-plugin
// puts it: "… (v0.1.0, commit 0123456789ab)".
func DescribedVersion(description string) string {
	_, build, _ := strings.Cut(description, "(")
	version, _, found := strings.Cut(build, ", commit ")
	if !found {
		return ""
	}
	return version
}
