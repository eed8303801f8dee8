package dockerconf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
)

// The defaults of dockerd.
const (
	DefaultFile     = "/etc/docker/daemon.json"
	DefaultDataRoot = "/var/lib/docker"
)

// Config is the content of daemon.json, with dockerd's defaults.
type Config struct {
	DataRoot      string          `json:"data-root"`
	StorageDriver string          `json:"storage-driver"`
	StorageOpts   []string        `json:"storage-opts"`
	Experimental  bool            `json:"experimental"`
	LiveRestore   bool            `json:"live-restore"`
	UsernsRemap   string          `json:"userns-remap"`
	Features      map[string]bool `json:"features"`
	// Containerd is the socket of the containerd that dockerd uses; empty means dockerd's default.
	Containerd          string `json:"containerd"`
	ContainerdNamespace string `json:"containerd-namespace"`
}

// IsBuiltin reports whether a storage driver is built into dockerd, and not a plugin.
func IsBuiltin(driver string) bool {
	switch driver {
	case "overlay2", "zfs", "btrfs", "vfs", "fuse-overlayfs", "devicemapper", "aufs", "overlay":
		return true
	}
	return false
}

// Read reads daemon.json. A missing file gives the defaults.
func Read(path string) (Config, error) {
	raw, err := configfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Decode(nil)
	}
	if err != nil {
		return Config{}, err
	}
	c, err := Decode(raw)
	if err != nil {
		return Config{}, fault.New(fault.Invalid, "%s: %w", path, err)
	}
	return c, nil
}

// File is a daemon.json as Load found it.
type File struct{ configfile.File }

// Load reads a daemon.json for editing. A missing file is no error.
func Load(path string) (File, error) {
	f, err := configfile.Load(path)
	return File{f}, err
}

// Config decodes the file. An error names the file.
func (f File) Config() (Config, error) {
	c, err := Decode(f.Raw)
	if err != nil {
		return Config{}, fault.New(fault.Invalid, "%s: %w", f.Path, err)
	}
	return c, nil
}

// Edit applies changes to the file's content. An error names the file.
func (f File) Edit(changes []Change) ([]byte, error) {
	edited, err := Edit(f.Raw, changes)
	if err != nil {
		err = fault.New(fault.Invalid, "%s: %w", f.Path, err)
	}
	return edited, err
}

// Decode decodes the content of daemon.json. An error names line and column.
func Decode(raw []byte) (Config, error) {
	c := Config{DataRoot: DefaultDataRoot}
	if len(bytes.TrimSpace(raw)) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Config{}, addLocation(raw, err)
	}
	if c.DataRoot == "" {
		c.DataRoot = DefaultDataRoot
	}
	return c, nil
}

// addLocation adds line and column to an error of encoding/json.
func addLocation(raw []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var offset int64
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	default:
		return err
	}
	before := raw[:min(int(offset), len(raw))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}
