package upgrade

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// Enable enables a plugin in Docker's record of it, so that a dockerd that refuses to start
// with a disabled storage driver starts. dockerd must be stopped. It reports false when the
// plugin is enabled already.
func Enable(root string, plugin dockerstore.Plugin) (changed bool, err error) {
	if plugin.Enabled {
		return false, nil
	}
	path := filepath.Join(root, "plugins", plugin.ID, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	enabled, err := setEnabled(raw)
	if err != nil {
		return false, fault.New(fault.Invalid, "%s: %w", path, err)
	}
	return true, atomicfile.Replace(path, enabled, atomicfile.Options{Mode: 0o600, Durability: atomicfile.ContentAndName})
}

// setEnabled changes one value of a plugin's record and keeps all others as they are.
func setEnabled(raw []byte) ([]byte, error) {
	var record map[string]json.RawMessage
	if err := json.Unmarshal(raw, &record); err != nil {
		return nil, err
	}
	var plugin map[string]json.RawMessage
	if err := json.Unmarshal(record["plugin"], &plugin); err != nil {
		return nil, fmt.Errorf("no plugin in it: %w", err)
	}
	plugin["Enabled"] = json.RawMessage("true")
	inner, err := json.Marshal(plugin)
	if err != nil {
		return nil, err
	}
	record["plugin"] = inner
	return json.Marshal(record)
}
