package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshotter"
)

const (
	defaultSocket = "/run/overlayzfs/snapshotter.sock"
	defaultRoot   = "/var/lib/overlayzfs-snapshotter"
	defaultLevel  = "info"
)

// configVersion is the version of the file format.
const configVersion = 1

// settings are the content of the file. docs/containerd.md describes each setting.
type settings struct {
	Version  int    `toml:"version"`
	Socket   string `toml:"socket"`
	Root     string `toml:"root"`
	LogLevel string `toml:"log-level"`
	RemapIDs bool   `toml:"remap-ids"`
	Metrics  string `toml:"metrics"`

	Store struct {
		Dataset   string `toml:"dataset"`
		Sync      string `toml:"sync"`
		Quota     string `toml:"quota"`
		XIno      string `toml:"xino"`
		Snapshots string `toml:"snapshots"`
		Records   string `toml:"records"`
	} `toml:"store"`

	Limits struct {
		Size   string `toml:"size"`
		Inodes string `toml:"inodes"`
		Keys   string `toml:"keys"`
		Labels string `toml:"labels"`
		// Namespaces has other limits for containers in some of containerd's name spaces.
		Namespaces map[string]namespaceLimits `toml:"namespaces"`
	} `toml:"limits"`
}

// namespaceLimits are the limits in one name space. An empty one is that of all containers.
type namespaceLimits struct {
	Size   string `toml:"size"`
	Inodes string `toml:"inodes"`
}

func defaults() settings {
	s := settings{Version: configVersion, Socket: defaultSocket, Root: defaultRoot, LogLevel: defaultLevel, RemapIDs: true}
	s.Limits.Keys = snapshotter.DefaultKeys
	s.Limits.Labels = string(snapshotter.LowerLabels)
	return s
}

// decode reads the file over the defaults. An unknown key is an error: a limit with a
// typing error in its name would limit nothing.
func decode(raw []byte) (settings, error) {
	s := defaults()
	err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(&s)
	if err == nil && s.Version != configVersion {
		err = fmt.Errorf("version = %d: this snapshotter reads version %d", s.Version, configVersion)
	}
	return s, explainDecode(err)
}

// explainDecode adds the line to an error, and the names of unknown keys.
func explainDecode(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var keys []string
		for _, e := range unknown.Errors {
			row, _ := e.Position()
			keys = append(keys, fmt.Sprintf("%s (line %d)", strings.Join(e.Key(), "."), row))
		}
		return fmt.Errorf("unknown settings: %s", strings.Join(keys, ", "))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, column := bad.Position()
		return fmt.Errorf("line %d, column %d: %w", row, column, err)
	}
	return err
}

// config are the settings, parsed.
type config struct {
	socket  string
	level   logrus.Level
	metrics metrics.Address
	options snapshotter.Options
}

// config parses the settings.
func (s settings) config() (c config, err error) {
	if !filepath.IsAbs(s.Socket) {
		return c, fmt.Errorf("socket = %q: want an absolute path", s.Socket)
	}
	if !filepath.IsAbs(s.Root) {
		return c, fmt.Errorf("root = %q: want an absolute path", s.Root)
	}
	c.socket = s.Socket
	if c.level, err = logrus.ParseLevel(s.LogLevel); err != nil {
		return c, fmt.Errorf("log-level: %w", err)
	}
	if c.metrics, err = metrics.ParseAddress(s.Metrics); err != nil {
		return c, err
	}
	c.options = snapshotter.Options{Home: s.Root, RemapIDs: s.RemapIDs}
	if c.options.Store, err = s.storeOptions(); err != nil {
		return c, err
	}
	c.options.Limits, err = s.parseLimits()
	return c, err
}

// storeOptions turns the settings into the core's options, which the core checks.
func (s settings) storeOptions() (overlayzfs.Options, error) {
	var list []string
	for _, option := range [][2]string{
		{"dataset", s.Store.Dataset},
		{"sync", s.Store.Sync},
		{"quota", s.Store.Quota},
		{"xino", s.Store.XIno},
		{"snapshots", s.Store.Snapshots},
		{"snapshots.records", s.Store.Records},
	} {
		if option[1] != "" {
			list = append(list, "overlayzfs."+option[0]+"="+option[1])
		}
	}
	o, err := overlayzfs.ParseOptions(list)
	return o, renameSettings(err)
}

func (s settings) parseLimits() (l snapshotter.Limits, err error) {
	if l.Default, err = parsePair("limits", namespaceLimits{s.Limits.Size, s.Limits.Inodes}, l.Default); err != nil {
		return l, err
	}
	if s.Limits.Keys == "" {
		return l, fmt.Errorf("limits.keys is empty, and would also limit the snapshots that images are built in, which cannot be committed then; the default is %s", snapshotter.DefaultKeys)
	}
	if l.Keys, err = regexp.Compile(s.Limits.Keys); err != nil {
		return l, fmt.Errorf("limits.keys: %w", err)
	}
	for name, texts := range s.Limits.Namespaces {
		preset, err := parsePair(fmt.Sprintf("limits.namespaces.%q", name), texts, l.Default)
		if err != nil {
			return l, err
		}
		if l.Namespaces == nil {
			l.Namespaces = map[string]quota.Limits{}
		}
		l.Namespaces[name] = preset
	}
	l.Labels = snapshotter.Labels(s.Limits.Labels)
	return l, l.Check()
}

// parsePair parses the two limits of a table of settings. An empty one is that of preset.
func parsePair(table string, texts namespaceLimits, preset quota.Limits) (l quota.Limits, err error) {
	l = preset
	if texts.Size != "" {
		if l.Bytes, err = quota.ParseBytes(table+".size", texts.Size); err != nil {
			return l, err
		}
	}
	if texts.Inodes != "" {
		if l.Inodes, err = quota.ParseInodes(table+".inodes", texts.Inodes); err != nil {
			return l, err
		}
	}
	return l, nil
}
