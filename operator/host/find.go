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

// DefaultDriver is what the plugin is called where nobody chose another name.
const DefaultDriver = "overlayzfs"

// envOpts is the plugin's setting that holds storage options.
const envOpts = "OVERLAYZFS_OPTS"

// Overrides are what flags name by hand. Find looks up what is empty.
type Overrides struct {
	Config  string // daemon.json
	Root    string // Docker's data-root
	Driver  string
	Dataset string
	// New: the store need not be there yet, but the plugin has to be.
	New bool
}

// Location says where a host has its store and Docker's records.
type Location struct {
	Root   string // Docker's data-root
	Driver string // the name Docker has its records under
	// Dataset holds the store. When it is empty the store lies in Home.
	Dataset string
	// Home is where the plugin's store shows on the host; empty when no plugin
	// is installed.
	Home   string
	Plugin *dockerstore.Plugin
	// Config is daemon.json. In it are the dataset of moby's zfs driver, and
	// whether containers are in user name spaces.
	Config      string
	ZFSDataset  string
	UsernsRemap bool
	// Options are the driver's storage options, daemon.json's last.
	Options []string
}

// FindStore finds the store.
func FindStore(w Overrides) (Location, error) {
	config, err := readConfig(w)
	if err != nil {
		return Location{}, err
	}
	s := Location{Root: cmp.Or(w.Root, config.DataRoot), Driver: cmp.Or(w.Driver, PluginDriver(config), DefaultDriver)}
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
		return Location{}, fault.New(fault.NotFound, "neither daemon.json nor a plugin %q in %s names a dataset: name the one of overlayzfs.dataset with --dataset POOL/NAME", s.Driver, s.Root)
	}
	s.Config, s.ZFSDataset, s.UsernsRemap = w.Config, lastOption(config.StorageOpts, "zfs.fsname"), config.UsernsRemap != ""
	return s, nil
}

// readConfig reads daemon.json, unless all that it could say was said.
func readConfig(w Overrides) (dockerconf.Config, error) {
	c, err := dockerconf.Read(w.Config)
	if err != nil && w.Root != "" && w.Dataset != "" {
		return dockerconf.Config{}, nil
	}
	return c, err
}

// PluginDriver is the storage driver of daemon.json, if it is a plugin and none of
// Docker's own.
func PluginDriver(c dockerconf.Config) string {
	if dockerconf.IsBuiltin(c.StorageDriver) {
		return ""
	}
	return c.StorageDriver
}

// findPlugin looks for the plugin in the data-root. That there is no data-root
// is no error: the store may be told by hand.
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

// PluginDataset is the dataset that the installed plugin's own settings name;
// empty where they name none.
func (s Location) PluginDataset() string {
	if s.Plugin == nil {
		return ""
	}
	return lastOption(overlayzfs.SplitOptions(s.Plugin.Setting(envOpts)), datasetOption)
}

// lastOption is the last value of an option, whose name is not case-sensitive.
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
