package conformance

import (
	"path/filepath"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/pkg/idtools"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
)

// registeredName is what the suite calls the driver that leads to the plugin.
const registeredName = "overlayzfs-proxy"

// registerProxy makes the driver at socket known to graphdriver.GetDriver
// under registeredName.
func registerProxy(socket string) error {
	return graphdriver.Register(registeredName, func(home string, options []string, ids idtools.IdentityMapping) (graphdriver.Driver, error) {
		return mobyproxy.Open(socket, graphdriver.Options{Root: filepath.Dir(home), DriverOptions: options, IDMap: ids})
	})
}
