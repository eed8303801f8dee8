package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// SnapshotterConfig is the default path of the snapshotter's configuration.
const SnapshotterConfig = "/etc/overlayzfs/snapshotter.toml"

// defaultSocket is the snapshotter's socket if its configuration names none.
const defaultSocket = "/run/overlayzfs/snapshotter.sock"

// defaultSnapshotterRoot is the snapshotter's directory if its configuration names none.
const defaultSnapshotterRoot = "/var/lib/overlayzfs-snapshotter"

// SnapshotterSocket returns the socket in the snapshotter's configuration.
func SnapshotterSocket(file string) (string, error) {
	c, err := readSnapshotter(file)
	return cmp.Or(c.Socket, defaultSocket), err
}

// SnapshotterDataset returns the dataset in the snapshotter's configuration, or "" when
// there is none. It does not check the other settings; the daemon does.
func SnapshotterDataset(file string) (string, error) {
	c, err := readSnapshotter(file)
	return c.Store.Dataset, err
}

// snapshotterConfig is the part of the snapshotter's configuration that is read here.
type snapshotterConfig struct {
	Socket string `toml:"socket"`
	Root   string `toml:"root"`
	Store  struct {
		Dataset string `toml:"dataset"`
	} `toml:"store"`
}

func readSnapshotter(file string) (c snapshotterConfig, err error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = toml.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w (`overlayzfs-snapshotter --check` shows the place)", file, err)
	}
	return c, nil
}

// HasSnapshotter reports whether there is a configuration of the snapshotter.
func HasSnapshotter(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
