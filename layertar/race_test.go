//go:build race

package layertar

// raceShare divides the longest inputs under the race detector, which takes many times as
// long for each entry. Without the detector, as in the lab, the inputs are whole.
const raceShare = 4
