package plugin

import (
	"regexp"
	"strings"
)

// The ID of a layer tells its use. Layers of dockerd itself have 64 hexadecimal digits.
// The init layer, between a container and its image, has the container's ID and "-init".
// BuildKit's layers have 25 letters and digits.

const initSuffix = "-init"

// isInit reports whether a layer is an init layer, which holds only the few files that
// dockerd puts below every container. dockerd sends the container's limits with it; it
// needs none.
func isInit(id string) bool { return strings.HasSuffix(id, initSuffix) }

var dockerLayer = regexp.MustCompile(`^[0-9a-f]{64}$`)

// isRecordedEmpty reports whether the engine may record a layer before it has content.
// BuildKit records a layer when it is created, dockerd when its content is complete.
func isRecordedEmpty(id string) bool { return !dockerLayer.MatchString(id) }

// isRecordedByCreate reports whether the engine records a layer when Create has answered.
// An init layer is recorded later, together with its container's layer.
func isRecordedByCreate(id string, readWrite bool) bool {
	return !isInit(id) && (readWrite || isRecordedEmpty(id))
}

// isStrayInit reports whether a layer is an init layer without its container. An engine
// that died between creating the two recorded neither.
func isStrayInit(id string, exists func(id string) bool) bool {
	container, ok := strings.CutSuffix(id, initSuffix)
	return ok && dockerLayer.MatchString(container) && !exists(container)
}

// isContainers reports whether a layer is a container's or an init layer. dockerd makes the
// two for each container.
func isContainers(id string, exists func(id string) bool) bool {
	return isInit(id) || exists(id+initSuffix)
}
