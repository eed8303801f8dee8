package plugin

import (
	"regexp"
	"strings"
)

// What dockerd's names of layers tell. Its own layers have 64 hexadecimal
// digits; the layer between a container and its image has the container's with
// "-init" behind; BuildKit's have 25 letters and digits.

const initSuffix = "-init"

// isInit reports whether a layer holds only the few files that dockerd puts
// below every container. It is sent the container's limits, and needs none.
func isInit(id string) bool { return strings.HasSuffix(id, initSuffix) }

var dockerLayer = regexp.MustCompile(`^[0-9a-f]{64}$`)

// recordedWhenMade reports whether the engine may have recorded a layer that has
// no content yet: BuildKit does so when it is made, dockerd once its content is
// there.
func recordedWhenMade(id string) bool { return !dockerLayer.MatchString(id) }

// recordedByCreate reports whether the engine records a layer when Create has
// answered. An init layer is recorded together with its container's.
func recordedByCreate(id string, readWrite bool) bool {
	return !isInit(id) && (readWrite || recordedWhenMade(id))
}

// strayInit reports whether a layer was made for a container that was not: an
// engine that died between the two recorded neither.
func strayInit(id string, exists func(id string) bool) bool {
	container, ok := strings.CutSuffix(id, initSuffix)
	return ok && dockerLayer.MatchString(container) && !exists(container)
}
