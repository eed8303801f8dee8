package host

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// DefaultDriver is the plugin's name when nobody chose another.
const DefaultDriver = "overlayzfs"

// envOpts is the plugin's setting that holds storage options.
const envOpts = "OVERLAYZFS_OPTS"

// Overrides are the values of flags. FindStore looks up the empty ones.
type Overrides struct {
	Config  string // daemon.json
	Root    string // Docker's data-root
	Driver  string
	Dataset string
	// ContainerdRoot is the root directory of containerd.
	ContainerdRoot string
	// New is set when the store need not exist yet. The plugin has to be installed then.
	New bool
}

// Location says where a host has its store and Docker's records.
type Location struct {
	Root   string // Docker's data-root
	Driver string // the driver's name in Docker's records
	// Dataset holds the store. When it is empty the store lies in Home.
	Dataset string
	// Home is the host's path of the plugin's store, or "" when no plugin is installed.
	Home   string
	Plugin *dockerstore.Plugin
	// Config is the path of daemon.json, which has ZFSDataset, the dataset of moby's zfs
	// driver, and UsernsRemap.
	Config      string
	ZFSDataset  string
	UsernsRemap bool
	// Options are the driver's storage options: the plugin's, then daemon.json's.
	Options []string
	// ContainerdRoot is the root directory of containerd, or "" where none was named.
	ContainerdRoot string
}

// ConfiguredDataset returns the dataset that the plugin uses when dockerd starts with it,
// or "" when the plugin keeps its store in the data-root. Dataset can be another, which a
// flag names.
func (s Location) ConfiguredDataset() string { return lastOption(s.Options, datasetOption) }

// FindStore finds the host's store. It fails with fault.NotFound when nothing names one.
func FindStore(w Overrides) (Location, error) {
	config, err := readConfig(w)
	if err != nil {
		return Location{}, err
	}
	s := Location{
		Root: cmp.Or(w.Root, config.DataRoot), Driver: cmp.Or(w.Driver, PluginDriver(config), DefaultDriver), ContainerdRoot: w.ContainerdRoot,
	}
	if err := s.findPlugin(); err != nil {
		return Location{}, err
	}
	if s.Plugin != nil {
		s.Options = overlayzfs.SplitOptions(s.Plugin.Setting(envOpts))
		s.Home = filepath.Join(s.Plugin.Mount, s.Driver)
	}
	if PluginDriver(config) == s.Driver {
		s.Options = append(s.Options, config.StorageOpts...)
	}
	s.Dataset = cmp.Or(w.Dataset, lastOption(s.Options, datasetOption))
	if s.Dataset == "" && !isDir(s.Home) && (!w.New || s.Plugin == nil) {
		return Location{}, fault.New(fault.NotFound, "no dataset is configured, neither in daemon.json nor by a plugin %q in %s: pass the dataset of the layers with --dataset POOL/NAME", s.Driver, s.Root)
	}
	s.Config, s.ZFSDataset, s.UsernsRemap = w.Config, ZFSDataset(config), config.UsernsRemap != ""
	return s, nil
}

// readConfig reads daemon.json. It ignores an unreadable file when the flags name
// everything.
func readConfig(w Overrides) (dockerconf.Config, error) {
	c, err := dockerconf.Read(w.Config)
	if err != nil && w.Root != "" && w.Dataset != "" {
		return dockerconf.Config{}, nil
	}
	return c, err
}

// PluginDriver returns the storage driver of daemon.json, or "" when it is a built-in one.
func PluginDriver(c dockerconf.Config) string {
	if dockerconf.IsBuiltin(c.StorageDriver) {
		return ""
	}
	return c.StorageDriver
}

// ZFSDataset returns the dataset of moby's zfs driver in daemon.json, or "".
func ZFSDataset(c dockerconf.Config) string { return lastOption(c.StorageOpts, "zfs.fsname") }

// findPlugin looks for the plugin in the data-root. A missing data-root is no error,
// because flags may name the store.
func (s *Location) findPlugin() error {
	docker, err := dockerstore.Open(s.Root)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	plugins, err := docker.Plugins()
	for _, p := range plugins {
		if p.HasName(s.Driver) {
			s.Plugin = &p
		}
	}
	return errors.Join(err, docker.Close())
}

// PluginDataset returns the dataset in the installed plugin's own settings, or "".
func (s Location) PluginDataset() string {
	if s.Plugin == nil {
		return ""
	}
	return lastOption(overlayzfs.SplitOptions(s.Plugin.Setting(envOpts)), datasetOption)
}

// lastOption returns the last value of an option. Option names are not case-sensitive.
func lastOption(options []string, name string) (value string) {
	for _, item := range options {
		key, v, _ := strings.Cut(item, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
