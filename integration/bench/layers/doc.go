// Package layers makes the layer tars that a race applies: the same bytes on
// every machine, shaped like images' layers, half of their content
// compressible. A large one is made while it is read and kept nowhere.
//
// What is done with them lives in integration/bench/race.
package layers
