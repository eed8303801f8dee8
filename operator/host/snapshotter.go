package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// SnapshotterConfig is the default path of the snapshotter's configuration.
const SnapshotterConfig = "/etc/overlayzfs/snapshotter.toml"

// SnapshotterDataset returns the dataset in the snapshotter's configuration, or "" when
// there is none. It does not check the other settings; the daemon does.
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
