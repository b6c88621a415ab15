// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// Any log that the machine can make, true or not: 0 to 4 topics and any data.
contract Emitter {
    function emitRaw(uint8 nTopics, bytes32[4] calldata topics, bytes calldata data) external {
        require(nTopics < 5, "at most four topics");
        bytes memory d = data;
        bytes32 t0 = topics[0];
        bytes32 t1 = topics[1];
        bytes32 t2 = topics[2];
        bytes32 t3 = topics[3];
        assembly {
            let at := add(d, 32)
            let n := mload(d)
            switch nTopics
            case 0 { log0(at, n) }
            case 1 { log1(at, n, t0) }
            case 2 { log2(at, n, t0, t1) }
            case 3 { log3(at, n, t0, t1, t2) }
            default { log4(at, n, t0, t1, t2, t3) }
        }
    }
}
