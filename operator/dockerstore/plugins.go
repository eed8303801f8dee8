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

// Plugin is a managed plugin that is a storage driver.
type Plugin struct {
	ID      string
	Name    string // with its tag
	Enabled bool
	Env     []string // settings, NAME=value
	Mount   string   // where what it mounts shows on the host
}

// HasName reports whether a storage driver's name in Docker's configuration means
// this plugin: its tag may be left out.
func (p Plugin) HasName(driver string) bool {
	return p.Name == driver || p.Name == driver+":latest"
}

// Setting returns a variable of the plugin's environment.
func (p Plugin) Setting(name string) string {
	for _, setting := range p.Env {
		if value, ok := strings.CutPrefix(setting, name+"="); ok {
			return value
		}
	}
	return ""
}

// pluginRecord is the part of plugins/ID/config.json that is used here
// (plugin/v2/plugin.go).
type pluginRecord struct {
	Plugin struct {
		ID       string `json:"Id"`
		Name     string
		Enabled  bool
		Settings struct{ Env []string }
		Config   struct {
			Interface       struct{ Types []string }
			PropagatedMount string
		}
	} `json:"plugin"`
}

var pluginID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// mountName is where a plugin's mounts show, with what it keeps there.
const mountName = "propagated-mount"

// ReadPluginFile returns a small file that a plugin keeps beside its mounts.
func (r *Root) ReadPluginFile(p Plugin, name string) ([]byte, error) {
	return r.readFile(path.Join("plugins", p.ID, mountName, name), maxJSON)
}

// Plugins lists the managed plugins that are storage drivers. What is no
// plugin's record is passed over: nothing is deleted by these.
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
			continue // it is just being installed or removed
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

// decodePlugin reads config.json, and reports whether it is a storage driver's.
func decodePlugin(raw []byte) (p Plugin, driver bool, err error) {
	var record pluginRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return p, false, fault.New(fault.Invalid, "no plugin's configuration: %w", err)
	}
	driver = slices.ContainsFunc(record.Plugin.Config.Interface.Types, func(t string) bool {
		return strings.HasPrefix(t, "docker.graphdriver/")
	})
	return Plugin{ID: record.Plugin.ID, Name: record.Plugin.Name, Enabled: record.Plugin.Enabled, Env: record.Plugin.Settings.Env}, driver, nil
}
