package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// SnapshotterConfig is the snapshotter's configuration, where nobody chose another.
const SnapshotterConfig = "/etc/overlayzfs/snapshotter.toml"

// SnapshotterDataset is the dataset that the snapshotter is told to use; empty where
// there is no configuration, or none in it. The rest of it is the daemon's to judge.
func SnapshotterDataset(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var config struct {
		Store struct {
			Dataset string `toml:"dataset"`
		} `toml:"store"`
	}
	if err == nil {
		err = toml.Unmarshal(raw, &config)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w (`overlayzfs-snapshotter --check` shows the place)", file, err)
	}
	return config.Store.Dataset, nil
}
