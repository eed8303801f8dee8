package pluginproc

import (
	"encoding/json"
	"os"
	"strings"
)

// defaultCapabilities are those that Docker gives every container and managed plugin.
const defaultCapabilities = "chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service sys_chroot kill audit_write"

// StartManaged is Start with the capabilities of a managed plugin: Docker's, and those that the
// plugin's configuration file asks for.
func StartManaged(config string, args ...string) (*Process, error) {
	raw, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	var c struct {
		Linux struct{ Capabilities []string }
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	bound := "-all"
	for _, name := range append(strings.Fields(defaultCapabilities), c.Linux.Capabilities...) {
		bound += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	return start([]string{"setpriv", "--bounding-set=" + bound}, pluginEnv, pluginArgs(args))
}
