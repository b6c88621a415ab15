// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

// Fungible tokens, well behaved and otherwise. Written for bolo's tests: anybody may mint, nothing is safe to use.

/// What every fungible token here shares. A zero-value `transferFrom` needs no allowance, as in real tokens:
/// that is what address poisoning lives on.
abstract contract Ledger {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 value) external {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value; // checked arithmetic: reverts when the allowance is too small
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// The ordinary case.
contract Erc20 is Ledger {
    string public name;
    string public symbol;
    uint8 public decimals;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) {
        name = name_;
        symbol = symbol_;
        decimals = decimals_;
    }
}

/// Metadata as in the first tokens: `bytes32` texts and decimals of full width.
contract Bytes32Token is Ledger {
    bytes32 public constant name = "Maker of old";
    bytes32 public constant symbol = "MKR";
    uint256 public constant decimals = 18;
}

/// Moves value, but has neither `symbol` nor `decimals`: both calls revert.
contract NoMetadataToken is Ledger {}

/// Metadata meant to harm whoever prints it.
contract HostileToken is Ledger {
    uint256 public constant decimals = 2 ** 255;

    /// Clears the screen, turns the text red, breaks the line, rings the bell, sets the window's title, overrides
    /// the direction of writing (U+202E), hides a zero-width space (U+200B), then goes on for 4,000 letters.
    function symbol() external pure returns (string memory) {
        bytes memory head = hex"1b5b324a_1b5b33316d_55534443_0d0a_00_07_1b5d303b6f776e656407_e280ae_e2808b";
        bytes memory text = new bytes(head.length + 4000);
        for (uint256 i = 0; i < text.length; i++) {
            text[i] = i < head.length ? head[i] : bytes1("A");
        }
        return string(text);
    }

    /// Bytes that are no UTF-8.
    function name() external pure returns (string memory) {
        bytes memory text = hex"fffe80c0af";
        return string(text);
    }
}

/// The topic0 of ERC-20's Transfer with nothing indexed: both addresses and the value stand in the data.
contract UnindexedToken {
    event Transfer(address from, address to, uint256 value);

    string public constant symbol = "OLD";
    uint8 public constant decimals = 8;
    mapping(address => uint256) public balanceOf;

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
