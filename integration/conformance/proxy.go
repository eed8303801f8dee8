package conformance

import (
	"path/filepath"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/idtools"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
)

// registeredName is the name under which the suite opens the plugin.
const registeredName = "overlayzfs-proxy"

// registerProxy registers the plugin at socket as a graphdriver under registeredName.
func registerProxy(socket string) error {
	return graphdriver.Register(registeredName, func(home string, options []string, ids idtools.IdentityMapping) (graphdriver.Driver, error) {
		return mobyproxy.Open(socket, graphdriver.Options{Root: filepath.Dir(home), DriverOptions: options, IDMap: ids})
	})
}
